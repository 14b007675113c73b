// Functions that the network alone reaches, after a sign-in, and a fixed address to go out from.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param instanceUrl = 'https://contoso.service-now.com'
param appAccess = 'private'
param fixedAddress = true
param signInClientId = '00000000-0000-0000-0000-00000000000d'
param onCallGroupId = '00000000-0000-0000-0000-00000000000c'
param alertEmail = 'oncall@contoso.com'
param refreshSchedule = '0 0,5,10,15,20,25,30,35,40,45,50,55 * * * *'
