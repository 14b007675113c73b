// Functions that known addresses alone reach, and the witness from outside.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param instanceUrl = 'https://contoso.service-now.com'
param allowedAddresses = '203.0.113.7, 198.51.100.0/24'
param statusKey = 'CANARY-status-key'
param alertEmail = 'oncall@contoso.com'
param refreshSchedule = '0 45/20 * * * *'
