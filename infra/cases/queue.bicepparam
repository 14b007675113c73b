// Connections spread over instances by a queue.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param instanceUrl = 'https://contoso.service-now.com'
param refreshQueue = 'refresh'
param refreshSchedule = '0  */10 * * * *'
