// Functions that known addresses alone reach.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param instanceUrl = 'https://contoso.service-now.com'
param allowedAddresses = '203.0.113.7, 198.51.100.0/24, 2001:db8::7, 2001:db8:1::/48'
param alertEmail = 'oncall@contoso.com'
param refreshSchedule = '0 45/20 * * * *'
